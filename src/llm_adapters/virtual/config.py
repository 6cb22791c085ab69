"""What a virtual station is: its hardware, its wiring, its habits. Values only."""

from __future__ import annotations

import attrs

from llm_adapters.virtual.profiles import StoreRules

SITE_PHASES = ("L1", "L2", "L3")


@attrs.frozen
class Quirks:
    """How a station departs from the ideal one; the default is a well-behaved station.

    clock: `syncs_clock` takes the time of BootNotification and Heartbeat answers.
    profiles: `store` (see StoreRules); `rejects_profiles` refuses all, `ignores_profiles` accepts and does nothing;
      `keeps_tx_profiles` after the transaction (stations only *should* delete them); `watts_follow_car` spreads watts
      over the phases the car uses, not those of the profile.
    link: `answer_delay_s` on every answer; `drops_answers` share of answers lost; `offline` windows (from, to) in
      plant seconds without a link.
    restarts: `boot_s` long; `keeps_profiles` through one; `resumes_transaction` after one, else it is stopped with
      PowerLoss, else with `forgets_transaction` never heard of again; `boots_on_reconnect` as if it had restarted.
    talk: `offline_start` accepts any badge while offline; `silent_after_refused_start` drops a refused transaction
      without StopTransaction; `hides_pause` says Charging at 0 A; `one_current` reports one current without phase;
      `meter_gain` factor of its readings; `refused_keys` it does not let change.
    """

    syncs_clock: bool = True
    store: StoreRules = StoreRules()
    rejects_profiles: bool = False
    ignores_profiles: bool = False
    keeps_tx_profiles: bool = False
    watts_follow_car: bool = False
    answer_delay_s: float = 0.0
    drops_answers: float = 0.0
    offline: tuple[tuple[float, float], ...] = ()
    boot_s: float = 8.0
    keeps_profiles: bool = True
    resumes_transaction: bool = True
    forgets_transaction: bool = False
    boots_on_reconnect: bool = False
    offline_start: bool = False
    silent_after_refused_start: bool = False
    hides_pause: bool = False
    one_current: bool = False
    meter_gain: float = 1.0
    refused_keys: tuple[str, ...] = ()


@attrs.frozen
class StationConfig:
    """One station. `rotations`: for each connector the site phase that each station phase hangs on, one or three.

    `max_a` and `step_a` are per connector; `node` is where it hangs in the limit tree; `clock_offset_s` how far its
    clock is ahead of UTC; `free_vend_tag` starts a transaction for that tag at every plug.
    """

    station_id: str
    rotations: tuple[tuple[str, ...], ...] = (SITE_PHASES,)
    max_a: float = 16.0
    step_a: float = 0.1
    node: str = "site"
    voltage_v: float = 230.0
    clock_offset_s: float = 0.0
    free_vend_tag: str | None = None
    vendor: str = "Virtual"
    model: str = "Plant"
    firmware: str = "1.0"
    quirks: Quirks = Quirks()


def standard_keys(config: StationConfig) -> dict[str, tuple[str, bool]]:
    """The configuration keys of a station (OCPP 1.6 §9): name to (value, read-only)."""
    rules = config.quirks.store
    units = ",".join({"A": "Current", "W": "Power"}[unit] for unit in rules.units)
    return {
        "AllowOfflineTxForUnknownId": ("true" if config.quirks.offline_start else "false", False),
        "AuthorizeRemoteTxRequests": ("false", False),
        "ConnectionTimeOut": ("60", False),
        "HeartbeatInterval": ("300", False),
        "LocalAuthorizeOffline": ("true", False),
        "LocalAuthListEnabled": ("true", False),
        "LocalPreAuthorize": ("false", False),
        "MeterValueSampleInterval": ("60", False),
        "MeterValuesSampledData": ("Energy.Active.Import.Register", False),
        "NumberOfConnectors": (str(len(config.rotations)), True),
        "StopTransactionOnEVSideDisconnect": ("true", False),
        "StopTransactionOnInvalidId": ("true", False),
        "SupportedFeatureProfiles": ("Core,LocalAuthListManagement,SmartCharging,RemoteTrigger", True),
        "TransactionMessageAttempts": ("3", False),
        "TransactionMessageRetryInterval": ("10", False),
        "WebSocketPingInterval": ("0", False),
        "LocalAuthListMaxLength": ("1000", True),
        "SendLocalListMaxLength": ("500", True),
        "ChargeProfileMaxStackLevel": (str(rules.max_stack_level), True),
        "ChargingScheduleAllowedChargingRateUnit": (units, True),
        "ChargingScheduleMaxPeriods": (str(rules.max_periods), True),
        "MaxChargingProfilesInstalled": (str(rules.max_installed), True),
    }
