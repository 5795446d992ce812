"""Questions for training scripts: loading, drawing, choosing and answering them.

`climb_hf.trainers.scripting` passes these names on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf import catalog
from climb_hf.check import check_option
from climb_hf.errors import OptionError
from climb_hf.trainers.script_frames import COLUMNS, MEDIA, with_frames

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.trainers.scripting import ScriptArguments

logger = logging.getLogger(__name__)

SERIES_AS = ("signal", "picture", "both")
_HASH_END = 2**64


def load_questions(
    args: ScriptArguments,
    split: str,
    *,
    max_samples: int | None = None,
    seed: int = 0,
    series_as: str = "picture",
) -> Dataset:
    """Loads a split of the question view; its recordings become sheets, or stay as they are.

    Of volumes and clips, frames are shown among the images, made when a row is read.

    Args:
        args: of the script.
        split: name of the split.
        max_samples: most rows to keep.
        seed: of the draw.
        series_as: `picture` draws the ECGs and drops the series, `signal` keeps the series as they
            are stored, and `both` does both.

    Raises:
        OptionError: if there is no such split, no question in it, or `dataset_options` is no JSON.
    """
    import climb_hf

    loaded = climb_hf.load_dataset(
        "climb",
        args.dataset_name,
        task="qa",
        data_dir=args.data_dir,
        decode=False,
        num_proc=args.num_proc,
        **_more_options(args),
    )
    dataset = loaded[check_option("split", split, tuple(loaded))]
    if len(dataset) == 0:
        raise OptionError(
            f"split {split!r} of {args.dataset_name!r} holds no question. Choose another split "
            "(--train_split, --eval_split) or split_rule (--dataset_options)."
        )
    dataset = with_suffix(draw_samples(dataset, max_samples, seed), args.prompt_suffix)
    if check_option("series_as", series_as, SERIES_AS) == "signal":
        return with_frames(_in_rgb(dataset), args.n_frames)
    width_px, keep = args.image_width_px, series_as == "both"
    shown = with_images(dataset, width_px=width_px, num_proc=args.num_proc, keep_series=keep)
    return with_frames(_in_rgb(shown), args.n_frames)


def with_suffix(dataset: Dataset, suffix: str | None) -> Dataset:
    """Returns the rows with a text added to the last user message of each prompt."""
    if not suffix:
        return dataset

    def added(prompt: list[dict[str, str]]) -> list[dict[str, str]]:
        last = max(at for at, one in enumerate(prompt) if one["role"] == "user")
        longer = {**prompt[last], "content": f"{prompt[last]['content']}\n{suffix}"}
        return [*prompt[:last], longer, *prompt[last + 1 :]]

    prompts, kind = [added(one) for one in dataset["prompt"]], dataset.features["prompt"]
    # The other columns stay as they are stored: a map would open and write every image.
    return dataset.remove_columns("prompt").add_column("prompt", prompts, feature=kind)


def series_as_of(args: ScriptArguments, processor: Any) -> str:
    """Returns how a model meets the series of its rows: as `--series_as` says, else as it can.

    Raises:
        OptionError: if the model cannot take them so.
    """
    from climb_hf.hub import takes_images, takes_series

    if args.series_as is None:
        return "signal" if takes_series(processor) else "picture"
    wanted = check_option("series_as", args.series_as, SERIES_AS)
    if wanted != "picture" and not takes_series(processor):
        raise OptionError(
            f"series_as={wanted!r}: the model takes no series. Give it an encoder "
            "(--series_encoder fresh), or leave --series_as out, and the recordings are drawn."
        )
    if wanted == "both" and not takes_images(processor):
        raise OptionError(
            "series_as='both': the model takes no images. Take --series_as signal, or a model made "
            "from Qwen2.5-VL or Qwen3-VL."
        )
    return wanted


def _in_rgb(dataset: Dataset) -> Dataset:
    """Shows images decoded and in RGB: processors turn 16-bit grey into white, as Pillow does."""
    from climb_hf.images import RgbImages

    if "images" not in dataset.column_names:
        return dataset
    return dataset.cast_column("images", RgbImages())


def _more_options(args: ScriptArguments) -> dict[str, Any]:
    """The options of `load_dataset` that the arguments set; the JSON ones have the last word."""
    made: dict[str, Any] = {"split_rule": args.split_rule, "label_set": args.label_set}
    made = {name: value for name, value in made.items() if value is not None}
    if args.question is not None:
        cards = {name: catalog.get(name).card for name in catalog.check_config(args.dataset_name)}
        asking = [name for name, card in cards.items() if "question" in card.options]
        made["options"] = {name: {"question": args.question} for name in asking}
    return {**made, **_parsed(args.dataset_options)}


def _parsed(given: str | dict[str, Any] | None) -> dict[str, Any]:
    try:
        options = json.loads(given) if isinstance(given, str) else given or {}
    except ValueError as error:
        raise OptionError(f"dataset_options={given!r} is no JSON: {error}.") from error
    if not isinstance(options, dict):
        raise OptionError(f"dataset_options={given!r} should be a JSON object: {{...}}.")
    return options


def draw_samples(dataset: Dataset, n: int | None, seed: int = 0) -> Dataset:
    """Returns `n` rows, or all where there are fewer: the same ones on every machine.

    Rows are drawn by a hash of their id and the seed, whatever order they come in.

    Raises:
        OptionError: if `n` is below 1.
    """
    if n is None or n >= len(dataset):
        return dataset
    if n < 1:
        raise OptionError(f"{n} rows were asked for; at least 1 is needed.")
    keys = [_hash(one, seed) for one in dataset["id"]]
    drawn = sorted(range(len(keys)), key=keys.__getitem__)[:n]
    return dataset.select(sorted(drawn))


def _hash(text: str, seed: int) -> int:
    """A number from 0 to `_HASH_END` - 1 that is the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8])


def with_images(
    dataset: Dataset,
    *,
    width_px: int = 1000,
    num_proc: int | None = None,
    keep_series: bool = False,
) -> Dataset:
    """Draws the ECG of each row that has no image yet, and drops the recordings.

    Args:
        dataset: rows with `images`, `series` or both.
        width_px: of the sheets.
        num_proc: processes that draw.
        keep_series: whether the recordings stay beside the sheets.

    Returns:
        The rows with `images`, a list of images each, empty where there is nothing to draw.
    """
    from datasets import Features, Image, List

    if "series" not in dataset.column_names:
        return dataset
    dropped = [] if keep_series else ["series"]
    if "images" in dataset.column_names and not any(_filled(dataset, "series")):
        return dataset.remove_columns(dropped)  # a map would write volumes and clips once more
    from climb_hf import render

    features = {name: kind for name, kind in dataset.features.items() if name not in dropped}
    drawn = dataset.map(
        _draw,
        # The code of the renderer is part of the cache key, so that an old sheet is never served.
        fn_kwargs={"width_px": width_px, "code": _digest(Path(render.__file__))},
        remove_columns=dropped,
        features=Features({**features, "images": List(Image())}),
        num_proc=num_proc,
        desc="Drawing ECG sheets",
    )
    if not keep_series:
        _say_what_is_not_drawn(dataset, drawn)
    return drawn


def _say_what_is_not_drawn(dataset: Dataset, drawn: Dataset) -> None:
    pairs = zip(_filled(dataset, "series"), _filled(drawn, "images"), strict=True)
    n_lost = sum(heard and not seen for heard, seen in pairs)
    if n_lost:
        logger.warning(
            "%d of %d questions have series that no sheet is drawn of, and are left with their "
            "text alone. Take a model that takes series (--series_encoder fresh).",
            n_lost,
            len(dataset),
        )


def _draw(row: dict[str, Any], width_px: int, code: str) -> dict[str, Any]:
    """The images of one row: its own, else a sheet for each of its ECGs."""
    from climb_hf.traces import series_sheet
    from climb_hf.views import Signal, decode

    if row.get("images") or row.get("modality", "ecg") != "ecg":
        return {"images": row.get("images") or []}
    signals = [one if isinstance(one, Signal) else decode(one) for one in row["series"] or ()]
    return {"images": [series_sheet(one, width_px=width_px) for one in signals]}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_completions(dataset: Dataset, *, boxed_share: float = 1.0, seed: int = 0) -> Dataset:
    r"""Returns what a supervised trainer takes: `prompt`, `completion`, `images` and `series`.

    The completion is the assistant's message `\boxed{<answer>}`. Rows without an answer are left
    out, and said so.

    Args:
        dataset: rows of the question view.
        boxed_share: about this share of the answers, drawn by a hash of id and seed, are in a box;
            the others are bare.
        seed: of the draw.

    Raises:
        OptionError: if `boxed_share` is not in [0, 1].
    """
    from datasets import List, Value

    if not 0 <= boxed_share <= 1:
        raise OptionError(f"boxed_share={boxed_share!r} should lie between 0 and 1.")
    answers = dataset["answer"]
    answered = [index for index, one in enumerate(answers) if one is not None]
    if len(answered) < len(dataset):
        logger.warning("%d rows have no answer and are left out", len(dataset) - len(answered))
        dataset = dataset.select(answered)
    media = ["images", "series", *(COLUMNS if set(MEDIA) & set(dataset.column_names) else ())]
    kept = ["prompt", *(name for name in media if name in dataset.column_names)]
    if "series" in kept:
        kept.append("id")  # a series that cannot be used is named with its row
    in_box = [_hash(one, seed) < boxed_share * _HASH_END for one in dataset["id"]]
    texts = [
        "\\boxed{" + answers[index] + "}" if box else answers[index]
        for index, box in zip(answered, in_box, strict=True)
    ]
    # add_column leaves the images as they lie; a map would decode and encode every one of them.
    return dataset.select_columns(kept).add_column(
        "completion",
        [[{"role": "assistant", "content": text}] for text in texts],
        feature=List({"role": Value("string"), "content": Value("string")}),
    )


def fit_to(processor: Any, dataset: Dataset) -> Dataset:
    """Drops the images or series where the model takes none, and says how many rows lose them."""
    from climb_hf.hub import takes_images, takes_series

    sides = (
        ("images", takes_images, "For images, choose an image-text-to-text model."),
        (
            "series",
            takes_series,
            "Draw them (--series_as picture), or take --series_encoder fresh.",
        ),
    )
    for column, takes, advice in sides:
        if takes(processor) or column not in dataset.column_names:
            continue
        shown = MEDIA if column == "images" else ()
        also = [name for name in shown if name in dataset.column_names]
        n_lost = sum(map(any, zip(*(_filled(dataset, c) for c in (column, *also)), strict=True)))
        if n_lost:
            logger.warning(
                "The model takes no %s: %d of %d questions lose their %s. %s",
                column,
                n_lost,
                len(dataset),
                column,
                advice,
            )
        dataset = dataset.remove_columns([column, *also])
    return dataset


def _filled(dataset: Dataset, column: str) -> list[bool]:
    """Which rows have something in a column of lists; what it is, is not decoded."""
    import pyarrow.compute as pc

    batches = dataset.select_columns([column]).with_format("arrow").iter(batch_size=256)
    lengths = (pc.list_value_length(batch[column]).to_pylist() for batch in batches)
    return [bool(length) for own in lengths for length in own]


def filter_long(dataset: Dataset, processor: Any, max_tokens: int | None) -> Dataset:
    """Leaves out the rows with more than `max_tokens` tokens, and says how many.

    Tokens of images, of series and of a `completion`, where there is one, count too.

    Raises:
        OptionError: if no row is left.
    """
    from datasets.utils import tqdm

    if max_tokens is None:
        return dataset
    lengths = _Lengths(processor)
    counts = [lengths.of(row) for row in tqdm(dataset, desc="Counting tokens")]
    kept = [index for index, count in enumerate(counts) if count <= max_tokens]
    if not kept:
        raise OptionError(
            f"each of {len(counts)} questions has more than {max_tokens} tokens, at least "
            f"{min(counts, default=0)}. Raise --max_prompt_length (train_sft: --max_length) or "
            "make the images smaller."
        )
    if len(kept) < len(counts):
        logger.warning(
            "%d of %d questions have more than %d tokens (up to %d) and are left out",
            len(counts) - len(kept),
            len(counts),
            max_tokens,
            max(counts),
        )
        dataset = dataset.select(kept)
    return dataset


class _Lengths:
    """Counts the tokens of rows; what an image costs is measured once for each size."""

    def __init__(self, processor: Any) -> None:
        from climb_hf.hub import takes_series

        self._processor = processor
        self._hears = takes_series(processor)
        self._of_size: dict[tuple[int, int], int] = {}

    def of(self, row: dict[str, Any]) -> int:
        from climb_hf.hub import rendered

        said = "".join(message["content"] for message in row.get("completion") or ())
        series = [list(row["series"])] if self._hears and row.get("series") else None
        n_series = len(series[0]) if series else 0
        text = rendered(self._processor, row["prompt"], 0, n_series) + said
        counted = self._count(text, series=series) if series else self._count(text)
        return counted + sum(self._image(one.size) for one in row.get("images") or ())

    def _image(self, size: tuple[int, int]) -> int:
        from PIL import Image

        from climb_hf.hub import rendered

        if size not in self._of_size:
            blank = Image.new("RGB", size)
            shown = self._count(rendered(self._processor, "?", 1), images=[[blank]])
            self._of_size[size] = shown - self._count(rendered(self._processor, "?", 0))
        return self._of_size[size]

    def _count(self, text: str, **media: Any) -> int:
        return len(self._processor(text=[text], **media)["input_ids"][0])


def generate_answers(
    model: Any,
    processor: Any,
    dataset: Dataset,
    batch_size: int = 8,
    max_new_tokens: int = 256,
) -> list[str]:
    """Lets a model answer each row greedily, with a progress bar.

    Args:
        dataset: rows with `prompt` and, where the model takes them, `images` and `series`; rows
            with and without may be mixed.
        batch_size: questions answered at once.
        max_new_tokens: where an answer is cut at the latest.

    Returns:
        One text per row, in row order.
    """
    from datasets.utils import tqdm

    from climb_hf.hub import generate

    texts: list[str] = []
    for start in tqdm(range(0, len(dataset), batch_size), desc="Answering"):
        rows = dataset[start : start + batch_size]
        images = rows.get("images") or [[]] * len(rows["prompt"])
        shown = [one or [] for one in images]
        series = [one or [] for one in rows.get("series") or [[]] * len(shown)]
        texts += generate(model, processor, rows["prompt"], shown, max_new_tokens, series=series)
    return texts
