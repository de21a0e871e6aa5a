"""Runs as TREC's programs write them: a line for each image of a query, `qid Q0 docid rank score tag`."""

from __future__ import annotations

from pathlib import Path

from diptych.ranking.scored_images import ScoredImages
from diptych.storage.json_values import encodable

_COLUMNS = "query Q0 image rank score tag"


def read_trec_run(path: Path, data: bytes, advice: str) -> ScoredImages:
    """The run in the bytes of a file. As trec_eval does, it is ranked by score; of equal scores, which that puts in the
    order of their names, the rank decides. A query's lines may stand anywhere. The second and the last column say
    nothing.

    Raises:
        ValueError: a line has not six columns, a rank is no whole number, a score no finite one, or an image is there
            twice for a query; names file and line.
    """
    run = ScoredImages()
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        where = f"{path}:{number}"
        try:
            columns = encodable(line.decode()).split()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 text (byte {line[error.start]:#04x}); {advice}") from None
        if not columns:
            continue
        if len(columns) != 6:
            raise ValueError(
                f"{where}: {len(columns)} columns where a TREC run has six ({_COLUMNS}): "
                f"{' '.join(columns)!r:.80}; {advice}"
            )
        query_id, _, image_id, rank, score, _ = columns
        place = _number(rank, int)
        if not isinstance(place, int):
            raise ValueError(f"{where}: query {query_id!r}: the rank of {image_id!r} must be a number, found {rank!r}")
        run.add(query_id, image_id, _number(score, float), where, place)
    return run


def _number(text: str, kind: type[int] | type[float]) -> float | str:
    try:
        return kind(text)
    except ValueError:
        return text
