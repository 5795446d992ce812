"""One file a source: a card (facts) and a reader (raw files to examples). See CONTRIBUTING.md."""
