"""The files that the paper's README names; each leads to where its content is, under the names it has there."""
