"""README.txt of a release folder: what it is, for whoever opens it first."""

from __future__ import annotations

from textwrap import fill

from accountants import Claim
from accountants.certificate import Draw, guarantee_in_words
from dpsynth.release.bundle import CERTIFICATE, MEASUREMENTS, PAGE, REPORT, REPORT_JSON, SCHEMA, TABLE

_WIDTH = 96


def readme(dataset: str, claim: Claim, draw: Draw, key_id: str) -> str:
    """The text. It depends on declared parameters and digests only."""
    files = {
        TABLE: f"the table: {draw.rows} synthetic rows",
        SCHEMA: "what its columns are, as declared before any row was read",
        REPORT: "which figures to trust and by how much; open it in any browser",
        REPORT_JSON: "the same, for machines",
        MEASUREMENTS: "the noisy counts that it rests on: 'dpsynth analyse' makes intervals of them",
        PAGE: "what was promised, for people; open it in any browser",
        CERTIFICATE: "the same, signed, for machines",
    }
    return "\n".join(
        [
            "SYNTHETIC DATA",
            "",
            _prose(
                f"The rows in this folder were drawn from a statistical model of the dataset '{dataset}'. None of them "
                "describes a real unit. A row may still look like a real one, as any plausible row does."
            ),
            "",
            *(f"  {name:<18} {what}" for name, what in files.items()),
            "",
            _prose(guarantee_in_words(claim.budget, claim.unit)),
            "",
            *(
                [_prose(f"Not drawn but supplied, and not protected: the columns {', '.join(draw.given)}."), ""]
                if draw.given
                else []
            ),
            *(
                [_prose(f"Not protected either: {claim.public.unprotected}; {claim.public.assumption}."), ""]
                if claim.public
                else []
            ),
            _prose(
                "The table is labelled SYNTHETIC in its file's name and footer, in the metadata of each column, and in "
                "the attributes that pandas keeps. Keep the label when you convert it."
            ),
            "",
            _prose(
                "Relations between columns that were never measured are not to be trusted: read the report before "
                "drawing conclusions."
            ),
            "",
            "To check, in this folder, that the files are those signed and the signed events imply epsilon:",
            "",
            "  dpsynth verify .",
            "",
            _prose(
                "Install dpsynth from its source repository or from a package source that your organisation vouches "
                "for, not from a package that merely has the name."
            ),
            "",
            _prose(
                "It answers 0 if they are and you trust the signer, 3 if they are and you do not know the signer, and "
                "1 if anything is broken. Ask the issuer, by another way than this folder, whether their key is:"
            ),
            "",
            f"  {key_id}",
            "",
        ]
    )


def _prose(text: str) -> str:
    return fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


__all__ = ["readme"]
