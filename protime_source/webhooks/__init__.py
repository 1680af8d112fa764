"""A doorbell: runs at once when a webhook of Protime rings, and at a fixed interval besides."""
