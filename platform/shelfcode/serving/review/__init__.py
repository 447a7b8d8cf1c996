"""The review of audits over HTTP: what reviewers and their tools ask (/v1/audits), and the pages that people work in (/review)."""
