"""A server in this process that speaks OpenAI's chat protocol, and vLLM's of adapters, as far as our code does."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "small"


class Server:
    """Answers as `answer` says, and remembers what it was asked. Adapters are named as ours are: "agent-…"."""

    def __init__(self, *, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.completions: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.adapters: dict[str, str] = {}
        self.changes: list[tuple[str, str]] = []
        self.refuses = ""
        self.drip_s = 0.0
        self.answer: Callable[[dict[str, Any]], tuple[int, Any]] = lambda request: (200, completion(""))
        self.complete: Callable[[dict[str, Any]], tuple[int, Any]] = lambda request: (500, {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(200, {"data": [{"id": name} for name in [MODEL, *outer.adapters]]})

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                match self.path:
                    case "/v1/chat/completions":
                        outer.requests.append(request)
                        outer.keys.append(self.headers.get("Authorization"))
                        known = not request["model"].startswith("agent-") or request["model"] in outer.adapters
                        self.reply(*(outer.answer(request) if known else (404, {"error": {"message": "does not exist"}})))
                    case "/v1/completions":
                        outer.completions.append(request)
                        known = request["model"] in outer.adapters
                        self.reply(*(outer.complete(request) if known else (404, {"error": {"message": "does not exist"}})))
                    case "/v1/load_lora_adapter":
                        self.reply(*outer.load(request["lora_name"], request["lora_path"]))
                    case "/v1/unload_lora_adapter":
                        outer.changes.append(("unload", request["lora_name"]))
                        self.reply(200 if outer.adapters.pop(request["lora_name"], None) else 404, "")
                    case _:
                        self.reply(404, {})

            def reply(self, status: int, body: Any) -> None:
                content = json.dumps(body).encode()
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    pieces = [content] if not outer.drip_s else [content[at : at + 1] for at in range(len(content))]
                    for piece in pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                        time.sleep(outer.drip_s)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def load(self, name: str, folder: str) -> tuple[int, Any]:
        """Take an adapter, once, unless it refuses all."""
        if self.refuses or name in self.adapters:
            return 400, {"error": {"message": self.refuses or "has already been loaded"}}
        self.adapters[name] = folder
        self.changes.append(("load", name))
        return 200, "Success"

    def close(self) -> None:
        """Answer nobody any more."""
        self.http.shutdown()
        self.http.server_close()


def sampled(*answers: tuple[list[int], list[float]], finish: str = "stop") -> tuple[int, dict[str, Any]]:
    """Return answers to a prompt, each as tokens and the log-probability of each."""
    choices = [
        {"index": at, "text": "", "finish_reason": finish, "token_ids": tokens, "logprobs": {"token_logprobs": chances}}
        for at, (tokens, chances) in enumerate(answers)
    ]
    return 200, {"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def completion(content: str | None, finish: str = "stop") -> dict[str, Any]:
    """Return an answer's body."""
    return {"choices": [{"finish_reason": finish, "message": {"role": "assistant", "content": content}}]}


def answer(text: str, *tokens: tuple[str, dict[str, float]]) -> tuple[int, dict[str, Any]]:
    """Return an answer with how likely each token and others were in its place, as logarithms."""
    told = [
        {"token": said, "logprob": likely[said], "top_logprobs": [{"token": t, "logprob": p} for t, p in likely.items()]}
        for said, likely in tokens
    ]
    choice = {"finish_reason": "stop", "message": {"content": text}, "logprobs": {"content": told}}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 3}}


def likes(word: str) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    """Return what likes every video whose words have `word` among them, and no other."""

    def judged(request: dict[str, Any]) -> tuple[int, Any]:
        video = request["messages"][1]["content"].rsplit("like this?\n", 1)[-1]
        first = ("yes", {"yes": -0.2, "no": -1.7}) if word in video else ("no", {"yes": -1.7, "no": -0.2})
        return answer(f"{first[0]}</answer>", first, ("</", {"</": 0.0}))

    return judged
