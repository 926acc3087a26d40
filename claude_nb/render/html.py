"""Replies, tool calls and whole chats as HTML that is safe in any page: the one renderer of the chat.

A reply is parsed as it is for cells (`parse`: no HTML, mathematics as people mean it), written by
markdown-it's renderer (`html_blocks`), its code coloured by classes (`html_code`), its TeX as MathML
(`html_math`), and cleaned by a parser of HTML (`html_clean`). No picture, style, script, id or name of the
author's comes through; links lead to http, https and mailto only. Everything here is imported when the first
chat is shown, never by `%load_ext` or by a cell's reply.
"""

from __future__ import annotations

from claude_nb.render.html_cards import images_html, notice_html, printed_html, thinking_html, tool_html
from claude_nb.render.html_code import code_css
from claude_nb.render.html_markdown import markdown_html, text_html
from claude_nb.render.html_stream import HtmlStream, Shown, changed
from claude_nb.render.html_transcript import Entry, transcript_html

__all__ = [
    "Entry",
    "HtmlStream",
    "Shown",
    "changed",
    "code_css",
    "images_html",
    "markdown_html",
    "notice_html",
    "printed_html",
    "text_html",
    "thinking_html",
    "tool_html",
    "transcript_html",
]
