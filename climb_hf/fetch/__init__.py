"""From a source's hosts to a checked folder: plan, transfer, manifest, unpack, verify, repair.

`plan.make` says what would be fetched, `run.download` fetches it, `check.verify` looks at what lies
there and `run.repair` fetches what is damaged again. Nothing wrong stands under a final name: bytes
go to a part file, are checked, and are renamed.
"""
