"""From plain facts to one HTML file: markup, charts, frame strips, sections, page.

Nothing here opens a store; `tasks.reports.report` gathers the facts (`contents.ReportContents`).
"""
