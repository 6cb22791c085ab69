"""Mail by SMTP, with the standard library: `send` blocks for at most its deadline, so it belongs into a thread."""

from llm_adapters.mail.smtp import MailError, message, send

__all__ = ["MailError", "message", "send"]
