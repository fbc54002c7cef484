"""What a drill may be told by its environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DrillSettings(BaseSettings):
    """`SEED` repeats a drill's choices; `DRILL_MAILS` and `DRILL_KILLS` (of each process) size the long one."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    seed: int | None = None
    drill_mails: Annotated[int, Field(ge=50)] = 5000
    drill_kills: Annotated[int, Field(ge=1)] = 6
