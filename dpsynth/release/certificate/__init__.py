"""The certificate for people: a page and a text that say what the signed file says, all of it and nothing else."""

from dpsynth.release.certificate.page import certificate_page
from dpsynth.release.certificate.text import certificate_text

__all__ = ["certificate_page", "certificate_text"]
