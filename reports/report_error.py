"""The one exception of the report stage that is the caller's to mend."""


class ReportError(ValueError):
    """There is nothing to report on: one sentence that says what is wrong and what to do about it."""
