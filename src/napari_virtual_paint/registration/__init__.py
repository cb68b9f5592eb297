"""Registration across modalities: where an image lies in another one, by the stain that a model paints of it (Ounkomol 2018, Fig. 2)."""

from __future__ import annotations

from napari_virtual_paint.registration.by_model import Registered, register_images
from napari_virtual_paint.registration.engine import register
from napari_virtual_paint.registration.resampling import resample
from napari_virtual_paint.registration.settings import Registration, RegistrationSettings
from napari_virtual_paint.registration.wording import describe

__all__ = ["Registered", "Registration", "RegistrationSettings", "describe", "register", "register_images", "resample"]
