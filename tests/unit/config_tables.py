"""Every table of the config as docs/configuration.md names it."""

from __future__ import annotations

import msgspec

from supervisor.config import (
    alert_sections,
    breaker_sections,
    model_sections,
    policy_sections,
    sections,
)

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "`[supervisor]`": sections.SupervisorSection,
    "`[session]`": sections.SessionSection,
    "`[spend]`": sections.SpendSection,
    "`[[budget]]`": sections.BudgetSection,
    "`[http]`": sections.HttpSection,
    "`[log]`": sections.LogSection,
    "`[alerts]`": alert_sections.AlertsSection,
    "`[report]`": alert_sections.ReportSection,
    "`[alerts.channel.NAME]`": alert_sections.ChannelSection,
    "`[[alerts.rate]]`": alert_sections.RateSection,
    "`[drills]`": sections.DrillsSection,
    "`[retention]`": sections.RetentionSection,
    "`[providers.NAME]`": sections.ProviderSection,
    "`price`": sections.PriceTable,
    "`[worker.NAME]`": sections.WorkerSection,
    "`[value]`": sections.ValueSection,
    "`[worker.NAME.http]`": sections.WorkerHttpSection,
    "`[breakers]`": breaker_sections.BreakersSection,
    "`[models]`": model_sections.ModelsSection,
    "`[models.actions]`": model_sections.ActionTiersSection,
    "`[[models.rule]]`": model_sections.ModelRuleSection,
    "`[[models.override]]`": model_sections.ModelOverrideSection,
    "`[[token_budget]]`": model_sections.TokenBudgetSection,
    "`[routing]`": model_sections.RoutingSection,
    "`[[routing.rule]]`": model_sections.RouteRuleSection,
    "`[context]`": model_sections.ContextSection,
    "`[worker.NAME.output]`": sections.WorkerOutputSection,
    "`[jobs]`": sections.JobsSection,
    "`[policy]`": policy_sections.PolicySection,
    "`[policy.auto]`": policy_sections.AutoSection,
    "`condition`": policy_sections.ConditionSection,
    "`[policy.risk]`": policy_sections.RiskSection,
    "`[policy.session_risk]`": policy_sections.SessionRiskSection,
    "`[policy.action.NAME]`": policy_sections.ActionSection,
    "`[policy.evaluator.NAME]`": policy_sections.EvaluatorSection,
}
