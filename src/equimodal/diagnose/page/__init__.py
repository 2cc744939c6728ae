"""A diagnosis as one HTML page that is complete in itself: verdict, plots to hover or to walk through by keyboard, samples, numbers."""

from equimodal.diagnose.page.samples import Sound, samples_of
from equimodal.diagnose.page.writing import render_page, write_numbers, write_page

__all__ = ["Sound", "render_page", "samples_of", "write_numbers", "write_page"]
