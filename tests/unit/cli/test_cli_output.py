"""Tables are aligned, fit 100 columns, and lose nothing; texts can't play with the terminal."""

from __future__ import annotations

import pytest

from supervisor.cli.output import plain, print_table, print_wrapped, span_text


def test_columns_are_aligned_and_numbers_stand_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "COST>", "WHY"), [("a", "1.00", "x"), ("longer", "12.00", "")])
    assert capsys.readouterr().out == "NAME     COST  WHY\na        1.00  x\nlonger  12.00\n"


def test_cell_that_is_too_wide_goes_on_in_the_next_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    print_table(("NAME", "WHY"), [("a", words), ("b", "short")])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.split() == ["NAME", "WHY", "a", *words.split(), "b", "short"]


def test_table_without_rows_has_its_titles(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B>"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_long_line_is_indented_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    print_wrapped("word " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("    word") for line in lines[1:])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a plain text, with ümlauts", "a plain text, with ümlauts"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("two\nlines", "two lines"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("right to left \u202e", "right to left \\u202e"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0 s"), (3.4, "3 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_span_is_said_in_its_unit(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
