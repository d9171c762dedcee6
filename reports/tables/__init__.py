"""The tables: each module fills a ``Grid``; ``views`` turns one into what is shown."""
