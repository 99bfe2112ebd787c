"""The Streamlit dashboard: releases only."""
