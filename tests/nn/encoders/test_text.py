import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equimodal.errors import InputError
from equimodal.nn import make_encoder
from equimodal.nn.encoders.text import TextEncoder


def small(**options):
    torch.manual_seed(0)
    return TextEncoder(20, embedding_size=8, channels=8, out_features=6, **options)


def words(*rows, **others):
    return {"input_ids": torch.tensor(rows), "attention_mask": torch.ones(len(rows), len(rows[0]), dtype=torch.int64), **others}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    texts=st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=1, max_size=5),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    content=st.sampled_from([0, 7, -100, 10**6]),
    kinds=st.sampled_from(
        [(torch.int64, torch.int64), (torch.int32, torch.uint8), (torch.int32, torch.bool), (torch.int64, torch.float32)]
    ),
)
def test_amount_side_and_content_of_the_padding_have_no_influence(texts, before, after, content, kinds):
    encoder = small()
    ids = torch.full((len(texts), before + max(map(len, texts)) + after), content, dtype=kinds[0])
    mask = torch.zeros(ids.shape, dtype=kinds[1])
    for row, text in enumerate(texts):
        ids[row, before : before + len(text)] = torch.tensor(text)
        mask[row, before : before + len(text)] = 1
    alone = torch.cat([encoder(torch.tensor([text])) for text in texts])
    torch.testing.assert_close(encoder({"input_ids": ids, "attention_mask": mask}), alone)


def test_gradients_reach_every_word_of_the_text_and_no_other():
    encoder = small()
    features = encoder({"input_ids": torch.tensor([[3, 5, 4], [6, 9, 9]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])})
    features.square().sum().backward()
    touched = encoder.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert touched == [3, 4, 5, 6]
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_the_order_of_the_words_matters():
    encoder = small()
    assert not torch.allclose(encoder(words([1, 2, 3, 4])), encoder(words([4, 3, 2, 1])))


def test_texts_without_words_are_finite_and_alike():
    encoder = small()
    features = encoder({"input_ids": torch.tensor([[1, 2], [3, 4]]), "attention_mask": torch.zeros(2, 2)})
    assert features.isfinite().all()
    assert torch.equal(features[0], features[1])


def test_what_else_a_tokenizer_gives_is_not_used():
    encoder = small()
    assert torch.equal(encoder(words([1, 2, 3], token_type_ids=torch.zeros(1, 3))), encoder(words([1, 2, 3])))


def test_learns_which_word_decides():
    torch.manual_seed(0)
    ids = torch.randint(1, 20, (200, 6), generator=torch.Generator().manual_seed(1))
    targets = (ids == 7).any(dim=1).long()
    model = torch.nn.Sequential(small(), torch.nn.Linear(6, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(ids), targets).backward()
        optimizer.step()
    assert (model(ids).argmax(dim=1) == targets).float().mean() > 0.97


def test_dropout_acts_in_training_alone():
    encoder = small(dropout=0.5)
    assert not torch.equal(encoder(words([1, 2, 3])), encoder(words([1, 2, 3])))
    encoder.eval()
    assert torch.equal(encoder(words([1, 2, 3])), encoder(words([1, 2, 3])))


def test_is_built_from_its_name():
    encoder = make_encoder({"name": "text", "vocabulary": 30, "embedding_size": 5, "out_features": 7})
    assert (type(encoder), encoder.out_features, encoder.embedding.weight.shape) == (TextEncoder, 7, (30, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "encoder 'text' lacks its option 'vocabulary'"),
        ({"vocabulary": 0}, "TextEncoder vocabulary is 0: give a positive integer"),
        ({"vocabulary": 9, "embedding_size": "8"}, "TextEncoder embedding_size is '8'"),
        ({"vocabulary": 9, "kernel_size": 2}, "TextEncoder kernel_size is 2: give an odd number, such as 3"),
        ({"vocabulary": 9, "dropout": 1}, "TextEncoder dropout is 1"),
        ({"vocabulary": 9, "embeding_size": 8}, "has no option 'embeding_size': did you mean 'embedding_size'"),
    ],
)
def test_answers_a_wrong_option_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        make_encoder({"name": "text", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (words([1, 20]), r"a word number outside of 0 to 19 \(the numbers go from 1 to 20\): set vocabulary"),
        (torch.tensor([[1, -1]]), "a word number outside of 0 to 19"),
        ({"input_ids": torch.tensor([[1, 2]])}, "a mapping without 'attention_mask'"),
        ({"ids": torch.tensor([[1, 2]])}, "a mapping without 'input_ids'"),
        (torch.tensor([1, 2]), r"expects integers \[batch, words\] and was given shape \[2\]"),
        (torch.zeros(1, 0, dtype=torch.int64), r"given shape \[1, 0\]"),
        (torch.zeros(1, 3), "type torch.float32: give int32 or int64 word numbers"),
        ({"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 3)}, r"mask has shape \[1, 3\] and input_ids \[1, 2\]"),
    ],
)
def test_answers_a_wrong_input_in_one_line(value, message):
    with pytest.raises(InputError, match=message) as caught:
        small()(value)
    assert "\n" not in str(caught.value)
