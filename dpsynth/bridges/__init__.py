"""Other people's mechanisms on the same account: each look is charged to the ledger before it is made.

`dpsynth.bridges.opacus` has an accountant for Opacus' ``PrivacyEngine``, `dpsynth.bridges.diffprivlib` one for
diffprivlib's tools and models. What these libraries do to rows is theirs, and taken at their word; the charge, the
refusal and the label are ours. See docs/bridges.md.
"""
