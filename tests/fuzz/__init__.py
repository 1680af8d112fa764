"""What comes from outside, of any form: answers, links, tokens, settings and files."""
