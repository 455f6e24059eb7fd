"""The daemon with a real model: real usage in the ledger, and what a dying server costs."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Measure
from tests.e2e.daemon_process import Installation, Tables, wait_until
from tests.e2e.model_server import MODEL_NAME, ModelServer, running_model_server
from tests.unit.agents.git_repository import GitRepository

INPUT_USD_PER_MTOK = 100.0
OUTPUT_USD_PER_MTOK = 1000.0


def provider(server: ModelServer) -> dict[str, object]:
    return {
        "kind": "openai",
        "base_url": server.base_url,
        "attempts_max": 1,
        "price": {
            "input_usd_per_mtok": INPUT_USD_PER_MTOK,
            "output_usd_per_mtok": OUTPUT_USD_PER_MTOK,
        },
    }


def test_digest_by_a_real_model_is_written_with_its_real_usage_in_the_ledger(
    installation: Installation, tmp_path: Path, measure: Measure
) -> None:
    repository = GitRepository.init(tmp_path / "repository")
    repository.commits("Add a parser for dates", "Fix the parser: leap years")
    with running_model_server() as server:
        installation.configure(
            {
                "spend": {"daily_cap_usd": 100.0},
                "providers": {"local": provider(server)},
                "worker": {
                    "digest": {
                        "run": "supervisor.agents.repository_digest:run",
                        "model": f"local/{MODEL_NAME}",
                        "every_s": 3600.0,
                        "options": {"repositories": ["../repository"], "summary_tokens_max": 40},
                    }
                },
            }
        )
        daemon = installation.start_ready()
        wait_until(
            lambda: installation.outcomes("digest") == ["ok"], what="the digest", within_s=60
        )
        assert daemon.stop() == 0
    (report,) = (installation.state_dir / "reports").glob("*.md")
    assert "Fix the parser: leap years" in report.read_text()
    (settled,) = installation.events("hold_settled")
    tokens_in, tokens_out = (int(str(settled[key])) for key in ("input_tokens", "output_tokens"))
    measure("a digest by a real model", f"{tokens_in} tokens in, {tokens_out} out")
    assert tokens_in > 50
    assert 0 < tokens_out <= 40
    cost = INPUT_USD_PER_MTOK * tokens_in + OUTPUT_USD_PER_MTOK * tokens_out
    assert settled["cost"] == cost == installation.settled_today()
    installation.check_audit()


def test_stream_of_a_real_model_is_settled_at_its_usage_and_forfeited_when_it_breaks(
    installation: Installation, tmp_path: Path
) -> None:
    pieces = tmp_path / "pieces"
    with running_model_server() as server:
        agent = {"run": "agents:streams_once", "model": f"local/{MODEL_NAME}", "every_s": 0.05}
        tables: Tables = {
            "spend": {"daily_cap_usd": 100.0},
            "providers": {"local": provider(server)},
        }
        options = {"pieces": str(pieces), "tokens": 5}
        installation.configure({**tables, "worker": {"agent": {**agent, "options": options}}})
        assert installation.supervisor("once", "agent").returncode == 0
        assert installation.outcomes("agent") == ["ok"]
        (settled,) = installation.events("hold_settled")
        assert settled["output_tokens"] == 5

        pieces.unlink()
        options = {**options, "tokens": 1500}
        installation.configure({**tables, "worker": {"agent": {**agent, "options": options}}})
        daemon = installation.start_ready()
        wait_until(pieces.exists, what="an answer is arriving", within_s=60)
        server.process.kill()
        wait_until(lambda: installation.outcomes("agent")[1:2] == ["failed"], what="it broke")
        assert daemon.stop() == 0
    (forfeited,) = installation.events("hold_forfeited")
    held = installation.events("hold_placed")[1]
    assert forfeited["cost"] == held["cost"]
    installation.check_audit()
