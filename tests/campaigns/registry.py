"""Every campaign, for ``scripts/soak``: a name, ``run(count, seed) -> Report``, the short and the long count."""

from .child import in_child
from .forged_cookies import forgeries
from .identity import interleavings, sequences
from .report import Campaign

CAMPAIGNS: list[Campaign] = [
    Campaign("hostile", in_child("hostile"), 50_000, 1_000_000),
    Campaign("readers", in_child("readers"), 50_000, 1_000_000),
    Campaign("pac", in_child("pac"), 50_000, 1_000_000),
    Campaign("flood", in_child("flood"), 200_000, 1_000_000),
    Campaign("races", in_child("races"), 20_000, 100_000),
    Campaign("replay", in_child("replay"), 1_000, 1_000),
    Campaign("slow", in_child("slow"), 200, 200),
    Campaign("identity", interleavings, 50_000, 5_000_000),
    Campaign("sequences", sequences, 59_049, 59_049),
    Campaign("real-users", in_child("identity_wire"), 5_000, 5_000),
    Campaign("forged-cookies", forgeries, 5_000, 100_000),
    Campaign("secrets", in_child("secrets"), 40, 40),
]
