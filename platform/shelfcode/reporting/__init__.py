"""What every report is made of: figures that survive JSON, page style, plots and tables."""
