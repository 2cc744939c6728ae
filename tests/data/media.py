"""Writing real sounds and videos, small ones, as the data sets' originals are."""

import av
import numpy
import soundfile


def write_sound(path, seconds=2.0, rate=16_000, frequency=440.0, loudness=0.4, **options):
    """Write a tone; at 16 kHz with 16 bits as CREMA-D's recordings are."""
    tone = loudness * numpy.sin(2 * numpy.pi * frequency * numpy.arange(int(seconds * rate)) / rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone, rate, **{"subtype": "PCM_16", "format": "WAV", **options})


def write_video(path, frames=12, size=(36, 48), rate=10, codec="flv", sound=True, blue=0):
    """Write a video in which red rises from frame to frame and green from left to right, with a soundtrack, as CREMA-D's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        track = container.add_stream("mp3" if codec == "flv" else "aac", rate=44_100) if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(frame_of(number, frames, size, blue), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            _write_track(container, track, frames / rate)


def frame_of(number, frames, size=(36, 48), blue=0):
    picture = numpy.zeros((*size, 3), "uint8")
    picture[..., 0] = 40 + 200 * number // max(frames - 1, 1)
    picture[..., 1] = numpy.linspace(0, 255, size[1]).astype("uint8")
    picture[..., 2] = blue
    return picture


def _write_track(container, track, seconds):
    samples = (numpy.random.default_rng(0).standard_normal((1, int(seconds * 44_100))) * 0.1).astype("float32")
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate = 44_100
    frame.pts = 0
    layout = track.codec_context.layout or "mono"
    fifo = av.AudioFifo()
    for piece in av.AudioResampler(format=track.codec_context.format, layout=layout, rate=44_100).resample(frame):
        fifo.write(piece)
    while (piece := fifo.read(track.codec_context.frame_size or 1152, partial=True)) is not None:
        container.mux(track.encode(piece))
    container.mux(track.encode())
