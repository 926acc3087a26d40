"""Flag: an event that can be waited for with a bound."""

from __future__ import annotations

import asyncio


class Flag(asyncio.Event):
    """Set and cleared in the portal's loop."""

    async def wait_at_most(self, seconds: float) -> bool:
        """Whether it was set within so many seconds."""
        try:
            await asyncio.wait_for(self.wait(), seconds)
        except TimeoutError:
            return False
        return True
