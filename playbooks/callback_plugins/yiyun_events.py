"""Ansible callback: one JSON line an event into the file `YIYUN_EVENTS`, for progress and totals.

Results are reduced to host, task and outcome; contents stay out, because they may hold secrets. What a
task manages is reduced to names (paths, packages, units, users), of a secret task to those in its source.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

from infra.drift.manifest import words_of
from infra.drift.parts import PREFIX

DOCUMENTATION = """
    name: yiyun_events
    type: notification
    short_description: events as JSON lines
    description: Writes one JSON line an event into the file named by YIYUN_EVENTS.
"""


class CallbackModule(CallbackBase):
    """Writes events; silent when `YIYUN_EVENTS` is not set."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "yiyun_events"

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get("YIYUN_EVENTS")
        self._stream = Path(path).open("a", encoding="utf-8", buffering=1) if path else None

    def _write(self, event: str, **fields: Any) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps({"event": event, "at": time.time(), **fields}) + "\n")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._write("play", name=play.get_name())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._write("task", name=task.get_name())

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._write("task", name=task.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._names(result)
        if result.is_changed():
            self._write("changed", host=result._host.get_name(), task=result._task.get_name())

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if ignore_errors:
            return
        hidden = bool(result._task.no_log) or "censored" in result._result
        message = "hidden: the task handles secrets" if hidden else self._message(result._result)
        self._write("failed", host=result._host.get_name(), task=result._task.get_name(), message=message)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        message = self._message(result._result)
        self._write(
            "unreachable", host=result._host.get_name(), task=result._task.get_name(), message=message
        )

    def _names(self, result: Any) -> None:
        """Note what the task names, also when it changed nothing."""
        task = result._task
        parts = [tag.removeprefix(PREFIX) for tag in task.tags if tag.startswith(PREFIX)]
        if not parts:
            return
        words = words_of(dict(task.args)) | (set() if task.no_log else self._result_words(result._result))
        if words:
            host = result._host.get_name()
            self._write("names", host=host, part=parts[0], words=sorted(words))

    @classmethod
    def _result_words(cls, result: dict[str, Any]) -> set[str]:
        own = {key: result.get(key) for key in ("path", "dest", "cmd", "item")}
        arguments = (result.get("invocation") or {}).get("module_args") or {}
        found = words_of(own) | words_of(arguments)
        for item in result.get("results") or []:
            if isinstance(item, dict) and not item.get("_ansible_no_log"):
                found |= cls._result_words(item)
        return found

    @staticmethod
    def _message(result: dict[str, Any]) -> str:
        parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr", "stdout")]
        return " | ".join(part for part in parts if part)[-2000:]
