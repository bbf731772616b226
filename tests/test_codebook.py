"""Codebooks become schemas, or say which line is wrong."""

from __future__ import annotations

import pytest

from dpsynth.codebook import draft, read_codebook
from dpsynth.columns import Boolean, Categorical, Date, Float, Integer, Ordinal
from dpsynth.errors import SchemaError
from dpsynth.schema import Schema

HEADER = "column,type,values,min,max,missing,label\n"
EXAMPLE = (
    HEADER
    + """\
patient_id,unit,,,,,
sex,categorical,F|M,,,yes,"Sex, at birth"
stage,Ordinal,1;2;3,,,no,
zip,nominal,01|02,,,0,

smoker,bool,0|1,,,1,
age,int,,0,110,true,Age in years
cost,real,,0,1.5,,
seen,date,,2020-01-01,2020-12-31,,
"""
)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "codebook.csv"

    def write(text: str, encoding: str = "utf-8") -> str:
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def test_a_codebook_becomes_a_schema(book):
    for encoding in ("utf-8", "utf-8-sig"):
        schema = read_codebook(book(EXAMPLE, encoding))
        assert schema.unit == "patient_id"
        assert schema.at_most == 1
        assert schema.columns == (
            Categorical(name="sex", values=("F", "M"), missing=True, label="Sex, at birth"),
            Ordinal(name="stage", values=(1, 2, 3)),
            Categorical(name="zip", values=("01", "02")),
            Boolean(name="smoker", missing=True),
            Integer(name="age", min=0, max=110, missing=True, label="Age in years"),
            Float(name="cost", min=0.0, max=1.5, decimals=3),
            Date(name="seen", min="2020-01-01", max="2020-12-31"),
        )


def test_the_draft_is_the_schema_with_comments(book):
    text = draft(book(EXAMPLE))
    assert Schema.loads(text.replace(", bins: auto", "")) == read_codebook(book(EXAMPLE))
    assert text.startswith("# Drafted from a codebook. Everything in this file is public")
    assert "\nunit: patient_id\n" in text
    assert "\n# Rows kept of each unit at most." in text
    assert "# about_rows: 20000" in text
    without = draft(book(EXAMPLE.replace("patient_id,unit,,,,,\n", "")))
    assert "\n# unit: person_id" in without
    assert Schema.loads(without).unit is None


def test_the_draft_says_what_to_choose(book):
    text = draft(book(EXAMPLE))
    assert "rows of\n# one unit beyond it are dropped" in text
    assert "scale" not in text  # nothing in it is wide


@pytest.mark.parametrize(
    ("line", "drafted", "comment"),
    [
        ("cost,float,0,100000,,", "log", "remove 'scale: log'"),
        ("cost,float,0,100000,,linear", "linear", None),
        ("cost,float,0,100000,8,", "linear", None),
        ("cost,float,0,5000,,", "linear", "add 'scale: log'"),
        ("cost,float,1,20000,,", "linear", "add 'scale: log'"),
        ("steps,integer,0,100000,,", "linear", "add 'scale: log'"),
        ("steps,integer,0,100000,,log", "log", None),
        ("year,integer,1900,2100,,", "linear", None),
        ("offset,float,-100000,100000,,", "linear", None),
        ("share,float,0,1,,", "linear", None),
        ('"no: wörd #",float,0,100000,,', "log", "remove 'scale: log'"),
    ],
)
def test_wide_columns_are_drafted_for_amounts(book, line, drafted, comment):
    text = draft(book(f"column,type,min,max,bins,scale\nfirst,boolean,,,,\n{line}\nlast,boolean,,,,\n"))
    first, column, last = Schema.loads(text).columns
    assert (first.name, column.scale, last.name) == ("first", drafted, "last")
    comments = text.partition("columns:")[2]
    assert comment in comments if comment else "#" not in comments
    assert not comment or comments.index("first") < comments.index(comment) < comments.index(column.name)


def test_numbers_and_dates_are_drafted_with_fine_grids_unless_bins_are_given(book):
    text = "column,type,min,max,bins,atoms\na,integer,0,99,,\nb,date,2020-01-01,2020-12-31,4,\n"
    a, b, c = Schema.loads(draft(book(text + "c,integer,0,99,auto,50|20\n"))).columns
    assert (a.bins, b.bins, c.bins, c.atoms) == ("auto", 4, "auto", (20, 50))


def test_optional_fields(book):
    text = "column,type,min,max,bins,scale,decimals,description\na,integer,0,99,0|10|99,,,text\nb,float,0,9,4,log,1,\n"
    a, b = read_codebook(book(text)).columns
    assert a == Integer(name="a", min=0, max=99, bins=(0, 10, 99), description="text")
    assert b == Float(name="b", min=0, max=9, bins=4, scale="log", decimals=1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["line 1", "'column' is required"]),
        ("column,values\n", ["line 1", "'type' is required"]),
        ("column,type,vlaues\n", ["line 1", "'vlaues'", "did you mean 'values'"]),
        (HEADER, ["no column"]),
        (HEADER + "u,unit,,,,,\n", ["no column"]),
        (HEADER + "a,boolean,,,,,\n,boolean,,,,,\n", ["line 3", "'column' is empty"]),
        (HEADER + "a,boolean,,,,,\n\na,boolean,,,,,\n", ["line 4", "'a'", "line 2"]),
        (HEADER + "u,unit,,,,,\nv,unit,,,,,\n", ["line 3", "'u' is already the unit"]),
        (HEADER + "a,integr,,,,,\n", ["line 2", "'a'", "did you mean 'integer'"]),
        (HEADER + "a,,,,,,\n", ["line 2", "'a'", "unknown type ''", "allowed"]),
        (HEADER + "a,integer,,x,9,,\n", ["line 2", "'a'", "'min'", "whole number", "'x'"]),
        (HEADER + "a,float,,0,x,,\n", ["line 2", "'a'", "'max'", "a number", "'x'"]),
        (HEADER + "a,integer,,9,0,,\n", ["line 2", "'a'", "less than"]),
        (HEADER + "a,integer,,0,,,\n", ["line 2", "'a'", "'max' is required"]),
        (HEADER + "a,date,,01.02.2020,2020-03-01,,\n", ["line 2", "'a'", "2020-12-31"]),
        (HEADER + "a,categorical,,,,,\n", ["line 2", "'a'", "'values' is required"]),
        (HEADER + "a,categorical,F|F,,,,\n", ["line 2", "'a'", "same"]),
        (HEADER + 'a,categorical,"F,M",,,,\n', ["line 2", "'a'", "'F,M'", "separate values with |"]),
        (HEADER + 'a,boolean,"0,1",,,,\n', ["line 2", "'a'", "'0,1'", "separate values with |"]),
        ('column,type,bins\na,integer,"0,5,9"\n', ["line 2", "'a'", "'0,5,9'", "separate edges with |"]),
        ("column;type;values\na;categorical;F,M\n", ["line 1", "semicolons", "separate with commas"]),
        ("column\ttype\na\tboolean\n", ["line 1", "tabs", "separate with commas"]),
        (HEADER + "a,categorical,F|,,,,\n", ["line 2", "'a'", "missing: true"]),
        (HEADER + "a,categorical,F|M,0,1,,\n", ["line 2", "'a'", "unknown key 'min'"]),
        (HEADER + "a,boolean,,,,maybe,\n", ["line 2", "'a'", "yes or no", "'maybe'"]),
        (HEADER + "a,boolean,low|high,,,,\n", ["line 2", "'a'", "'values'"]),
        (HEADER + "a,boolean,,,,,one,two\n", ["line 2", "8 fields", "double quotes"]),
        (HEADER + 'b,boolean,,,,,"two\nlines"\na,integr,,,,,\n', ["line 4", "'a'"]),
        (HEADER + "a,boolean,,,,," + "x" * 140_000 + "\n", ["line 2", "CSV"]),
    ],
)
def test_each_mistake_names_its_line(book, text, parts):
    for function in (read_codebook, draft):
        with pytest.raises(SchemaError) as caught:
            function(book(text))
        message = str(caught.value)
        assert all(part in message for part in parts), message
        assert "\n" not in message
        assert caught.value.__context__ is None


def test_unreadable_files(tmp_path, book):
    with pytest.raises(SchemaError, match=r"cannot read the codebook .*: No such file"):
        draft(tmp_path / "none.csv")
    with pytest.raises(SchemaError, match="not UTF-8"):
        draft(book(EXAMPLE + "é,boolean,,,,,\n", "latin-1"))


def test_a_table_taken_for_a_codebook_is_not_quoted(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("p00000,F,1941-03-02,died\np00001,M,1950-01-01,home\n")
    with pytest.raises(SchemaError, match="not the header of a codebook") as caught:
        read_codebook(path)
    assert "p00000" not in str(caught.value)


def test_a_quote_left_open_swallows_no_column(tmp_path):
    path = tmp_path / "book.csv"
    path.write_text('column,type,label\ncost,boolean,"Total\nweight,boolean,Weight\noutcome,boolean,"Died"\n')
    with pytest.raises(SchemaError, match=r"line 2: .*several lines"):
        read_codebook(path)


def test_atoms_alone_are_atoms_of_a_fine_grid(tmp_path):
    path = tmp_path / "book.csv"
    path.write_text("column,type,min,max,bins,atoms\ncopay,integer,0,1000,,10|25\n")
    (column,) = read_codebook(path).columns
    assert column.bins == "auto"
    assert column.atoms == (10, 25)
