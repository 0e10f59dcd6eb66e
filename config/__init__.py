"""Shared configuration: settings, names of subjects and tables, logging."""

from config.settings import Settings, SettingsError, load_settings

__all__ = ["Settings", "SettingsError", "load_settings"]
