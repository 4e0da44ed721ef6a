"""The verdict as people and tools read it: terminal, HTML, JSON, JUnit XML, Markdown."""
