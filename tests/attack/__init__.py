"""Attacks: what strangers may send, generated from seeds. The suite tries few; `AGENTKIT_ATTACKS=2000` tries many."""

import os

ATTACKS = int(os.environ.get("AGENTKIT_ATTACKS", "40"))
