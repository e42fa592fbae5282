"""Option types that several subcommands share."""

from __future__ import annotations

import click

from edge.messages import Box


class BoxType(click.ParamType[Box]):
    """X,Y,WIDTH,HEIGHT in pixels."""

    name = "x,y,width,height"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        """Four numbers; x and y at least 0, width and height above 0."""
        try:
            x, y, width, height = (int(step) for step in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not X,Y,WIDTH,HEIGHT.", param, ctx)
        if min(x, y) < 0 or min(width, height) <= 0:
            self.fail(f"{value!r} is no region: x and y from 0, width and height above 0.", param, ctx)
        return (x, y, width, height)


BOX = BoxType()
