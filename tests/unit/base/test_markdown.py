"""Text from outside within Markdown is text."""

from __future__ import annotations

from diffdescent.base.markdown import block, cell, code, plain, prose


def test_titles_and_names() -> None:
    assert plain("a | b\n# c <script> [x](y) `z`") == r"a \| b # c \<script\> \[x\](y) \`z\`"
    assert plain("ge(gamma=2) on 10 – fd ±0.1") == "ge(gamma=2) on 10 – fd ±0.1"


def test_cells_keep_their_own_markup_and_the_table_whole() -> None:
    assert cell("**a | b**\n<img>") == r"**a \| b** &lt;img>"


def test_prose_has_no_html() -> None:
    assert prose("*a* `b`\n\n<script>x</script> \n") == "*a* `b`\n\n&lt;script>x&lt;/script>"


def test_code_ends_where_it_should() -> None:
    assert code("a`b\nc") == "`a'b c`"
    assert block("a\n```\nb") == "````\na\n```\nb\n````"
    assert block("a") == "```\na\n```"
