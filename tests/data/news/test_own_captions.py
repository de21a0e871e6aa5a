"""Photos, articles and captions of one table: what a row may say, how splits are drawn, what mistakes are answered."""

from __future__ import annotations

import json
import logging

import pytest

from diptych.contracts.news import Article
from diptych.data.news.own_captions import OwnCaptions


def written(tmp_path, text, name="captions.csv") -> OwnCaptions:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return OwnCaptions(tmp_path, name)


def rows(number, photos_of_each=2):
    lines = [
        f"p/{article}-{photo}.jpg,Text of {article}.,Caption {article} {photo}."
        for article in range(number)
        for photo in range(photos_of_each)
    ]
    return "photo,article,caption\n" + "\n".join(lines) + "\n"


def test_a_row_is_a_photo_with_its_article_and_caption(tmp_path):
    source = written(
        tmp_path,
        "photo,article,caption,title,date,split,base_caption,desk\n"
        'a.jpg,"It opened, at last.","Mayor opens bridge, Monday.",Bridge opens,2022-02-27,train,a ribbon,local\n'
        "./b.jpg,Rain fell.,Flood.,,,val,,local\n",
    )
    (query,) = source.queries("train")
    assert (query.query_id, query.reference_captions) == ("a.jpg", ("Mayor opens bridge, Monday.",))
    article = source.articles()[query.article_id]
    assert article == Article(query.article_id, "", "Bridge opens", "It opened, at last.", "2022-02-27")
    assert source.base_captions("train") == {"a.jpg": "a ribbon"} and source.base_captions("val") == {}
    assert source.image_path("val", "b.jpg") == tmp_path / "b.jpg"
    assert not source.answers_hidden("train") and source.articles().source == tmp_path / "captions.csv"
    assert not source.article_files()
    with pytest.raises(ValueError, match=r"captions.csv: no row is of the split 'test'; there are train, val"):
        source.queries("test")


def test_several_rows_of_a_photo_are_its_captions(tmp_path):
    text = "id,image,article,caption,title,split\n1,a.jpg,Text.,One.,,test\n1,a.jpg,Text.,Two.,T,test\n"
    source = written(tmp_path, text)
    (query,) = source.queries("test")
    assert (query.query_id, query.reference_captions) == ("1", ("One.", "Two."))
    assert source.articles()[query.article_id].title == "T" and len(source.articles()) == 1
    assert source.image_path("test", "1") == tmp_path / "a.jpg"


def test_articles_in_files(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("Rain\nfell.")
    (tmp_path / "texts/b.json").write_text(json.dumps({"text": "It opened.", "title": "Bridge"}))
    source = written(
        tmp_path,
        "photo\tarticle_file\tcaption\tdate\tsplit\n"
        "a.jpg\ttexts/a.txt\tFlood.\t2020-01-02\ttrain\nb.jpg\ttexts/b.json\tBridge.\t\ttrain\n",
        "c.tsv",
    )
    articles = source.articles()
    assert articles["texts/a.txt"] == Article("texts/a.txt", "", "", "Rain\nfell.", "2020-01-02")
    assert articles["texts/b.json"].title == "Bridge" and list(articles) == ["texts/a.txt", "texts/b.json"]
    assert source.article_files() == [tmp_path / "texts/a.txt", tmp_path / "texts/b.json"]
    (tmp_path / "texts/b.json").write_text('{"title": "Bridge"}')
    with pytest.raises(ValueError, match=r"b\.json: .*text"):
        articles["texts/b.json"]
    (tmp_path / "texts/a.txt").unlink()
    with pytest.raises(ValueError, match=r"c\.tsv, line 2: the article .*a\.txt is not there$"):
        source.articles()


def test_json_lines(tmp_path):
    record = {"id": 7, "photo": "a.jpg", "article": "Text.", "caption": ["One.", "Two."], "split": "val", "date": None}
    source = written(tmp_path, json.dumps(record), "own.jsonl")
    (query,) = source.queries("val")
    assert (query.query_id, query.reference_captions) == ("7", ("One.", "Two."))


def test_drawn_splits_share_no_article_and_no_photo(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        source = written(tmp_path, rows(30) + "p/0-0.jpg,Text of 1.,The same photo with another article.\n")
        with pytest.raises(ValueError, match=r"line 62: 'p/0-0\.jpg' has another article than in an earlier row"):
            source.queries("train")
        source = written(tmp_path, rows(30) + "q.jpg,Text of 1.,Caption.\n")
        found = {split: source.queries(split) for split in source.splits}
    assert sum(map(len, found.values())) == 61 and all(4 <= len(found[split]) <= 8 for split in ("val", "test"))
    articles = [{query.article_id for query in found[split]} for split in source.splits]
    assert sum(map(len, articles)) == len(set.union(*articles)) == 30
    assert "no row names a split; drawn: test" in caplog.text
    again = written(tmp_path, rows(30) + "q.jpg,Text of 1.,Caption.\n")
    assert {split: again.queries(split) for split in again.splits} == found
    assert "splits were drawn" in source.notes("val")[0]


def test_too_few_articles_for_splits(tmp_path):
    with pytest.raises(ValueError, match="the articles are too few for splits of which no two share one; name the"):
        written(tmp_path, rows(2)).queries("train")


def test_photos_without_captions_are_to_be_captioned(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        source = written(tmp_path, "photo,article\na.jpg,Text.\nb.jpg,Text.\n")
        assert source.answers_hidden("test") and [query.query_id for query in source.queries("test")] == [
            "a.jpg",
            "b.jpg",
        ]
    assert "all photos are of test, to be captioned" in caplog.text
    with pytest.raises(ValueError, match="there are test"):
        source.queries("train")


def test_without_base_captions_that_is_said_once(tmp_path, caplog):
    source = written(tmp_path, rows(10))
    for split in ("train", "val", "train"):
        assert source.base_captions(split) == {}
    assert caplog.text.count("no base captions, so prompts do not say what the photos show") == 1


def test_small_tables_have_two_photos_of_a_drawn_split(tmp_path):
    source = written(tmp_path, rows(7, photos_of_each=1))
    assert [len(source.queries(split)) for split in source.splits] == [3, 2, 2]
    one = written(tmp_path, "photo,article,caption,split\na.jpg,T.,A.,val\n")
    assert "one photo has no CIDEr" in one.notes("val")[1]


def test_what_the_doctor_says(tmp_path):
    text = "photo,article,caption,split,base_caption\na.jpg,T.,A.,train,a man\nb.jpg,T.,B.,train,\nc.jpg,,C.,train,\n"
    about, article, base = written(tmp_path, text).notes("train")
    assert about == "own_captions train: 3 photos, 3 captions, 1 articles"
    assert article.endswith("1 photos have no article, first c.jpg")
    assert base.endswith("2 photos have no base caption, first b.jpg")


def test_there_is_no_gallery(tmp_path):
    source = written(tmp_path, rows(3))
    for ask in (source.gallery, lambda: source.database_image_path("a")):
        with pytest.raises(ValueError, match="articles cannot be retrieved by pictures here"):
            ask()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,caption\na.jpg,A.\n", "no row has an article; captions need one, in 'article', or a file in"),
        ("article,caption\nT.,A.\n", "there is no column photo or image; the header has article, caption"),
        ("photo,image,article\na,b,T.\n", "the columns photo and image say the same"),
        ("photo,artcle,caption\na,T.,A.\n", "unknown column 'artcle'; did you mean 'article'"),
        ("photo,article,caption\n,T.,A.\n", r"line 2: key 'photo' is missing"),
        ("photo,article,caption\n../a.jpg,T.,A.\n", r"line 2: key 'photo'"),
        ("photo,article,caption\nhttps://x.org/a.jpg,T.,A.\n", r"line 2: key 'photo' is a URL"),
        ("photo,article,article_file,caption\na.jpg,T.,t.txt,A.\n", "line 2: 'article' and 'article_file' are both"),
        (
            "photo,article,title,caption\na.jpg,T.,,A.\nb.jpg,,Title,B.\n",
            "line 3: a title or date stands beside no art",
        ),
        (
            "photo,article,title,caption\na.jpg,T.,One,A.\nb.jpg,T.,Two,B.\n",
            "line 3: the article has another title than in an earlier row: 'Two', 'One'",
        ),
        ("photo,article,caption,split\na.jpg,T.,A.,dev\n", "line 2: split 'dev' is not one of train, val, test"),
        ("photo,article,caption,split\na.jpg,T.,A.,train\nb.jpg,T.,B.,\n", "line 3: key 'split' is missing"),
        (
            "photo,article,caption,split\na.jpg,T.,A.,val\nb.jpg,T.,,val\n",
            r"split val: 1 photos have no caption, first b",
        ),
        ("photo,article,caption\na.jpg,T.,A.\nb.jpg,T.,\n", r"without a column of splits: 1 photos have no caption"),
        (
            "id,photo,article,caption\n1,a.jpg,T.,A.\n1,b.jpg,T.,B.\n",
            "line 3: '1' has another photo than in an earlier",
        ),
        (
            "photo,article,caption,split\na.jpg,T.,A.,val\na.jpg,T.,B.,test\n",
            r"line 3: 'a\.jpg' has another split than in an earlier row, \S*captions\.csv, line 2",
        ),
        ("photo;article;caption\na;T.;A.\n", "its columns are separated by ';'; save it with commas"),
    ],
)
def test_mistakes_name_file_line_and_column(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"captions\.csv.*{message}"):
        written(tmp_path, text).queries("train")


def test_an_absent_table(tmp_path):
    with pytest.raises(ValueError, match=r"captions.csv is not there; docs/own_captions\.md shows"):
        OwnCaptions(tmp_path).queries("train")
