"""A tool that returns an image: the model looks at the chart that it asked for.

Run it with a model that takes images:
AGENTKIT_MODEL=gemini-2.5-flash python examples/picture.py
"""

import base64
import os
import struct
import zlib

from agentkit import Agent, ImagePart, Result, tool
from agentkit.tool_choice import before_answer

SALES = {"lamps": [3, 5, 9, 14], "chairs": [8, 7, 7, 2]}
BAR, HEIGHT = 24, 64


def png(rows: list[bytes]) -> bytes:
    """Encode rows of grey pixels, a byte each."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return (
            struct.pack(">I", len(data))
            + body
            + struct.pack(">I", zlib.crc32(body))
        )

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join([b"\0" + row for row in rows]))
    start = b"\x89PNG\r\n\x1a\n"
    return (
        start
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


# --8<-- [start:chart]
@tool
def chart(product: str) -> list[str | ImagePart]:
    """Draw the sales of a product, a bar for each quarter.

    Args:
        product: "lamps" or "chairs".
    """
    sales = SALES[product]
    scale = HEIGHT / max(sales)
    rows = [
        b"".join(
            [bytes([0 if sold * scale > row else 255]) * BAR for sold in sales]
        )
        for row in range(HEIGHT - 1, -1, -1)
    ]
    picture = base64.b64encode(png(rows)).decode()
    return [f"Sales of {product}:", ImagePart(f"data:image/png;base64,{picture}")]


def analyst() -> Agent:
    """Return an agent that looks at a chart before it answers."""
    model = os.environ.get("AGENTKIT_MODEL", "local")
    return Agent(model, tools=[chart], tool_choice=before_answer(chart))


# --8<-- [end:chart]


def main() -> Result[str]:
    """Ask about one chart."""
    result = analyst().run_sync("Are the sales of lamps going up or down?")
    print(result.output)
    return result


if __name__ == "__main__":
    main()
