"""What the tests of a station and of a meter have shown, in sentences for an installer."""

from __future__ import annotations

from llm_adapters.web.faults import N_
from llm_core import Finding, MeterFinding, Trial

# Pages say a good result by its title alone, so only the others are translated; the API tells all of them in English.
FINDING_TEXTS: dict[Trial, dict[Finding, str]] = {
    Trial.CONFIGURATION: {
        Finding.YES: "It tells what it can do.",
        Finding.NO: N_("It tells none of its settings; what it can do was tried instead."),
    },
    Trial.AMPS: {
        Finding.YES: "It takes limits in amps.",
        Finding.NO: N_("It refuses limits in amps."),
    },
    Trial.WATTS: {
        Finding.YES: "It takes limits in watts.",
        Finding.NO: N_("It refuses limits in watts."),
    },
    Trial.ZERO: {
        Finding.YES: "It takes a limit of 0 A.",
        Finding.NO: N_(
            "It refuses 0 A. Enter its minimum for when it loses this controller and before that has spoken; where "
            "there is no current for its car, it is asked to end charging."
        ),
    },
    Trial.DECIMALS: {
        Finding.YES: "It takes tenths of an amp.",
        Finding.NO: N_("It takes whole amps only: up to one amp of each share stays unused."),
        Finding.UNCLEAR: N_("It takes tenths of an amp, and tells another value back."),
    },
    Trial.SECOND_PERIOD: {
        Finding.YES: "It takes a limit that lowers itself when we are not heard any more.",
        Finding.NO: N_("It takes no limit that lowers itself: its last limit stays reserved when it is lost."),
    },
    Trial.STACKING: {
        Finding.YES: "It keeps a permanent limit beneath the live one.",
        Finding.NO: N_("It keeps one limit for a connector: the permanent one is written as the end of each live one."),
    },
    Trial.COMPOSITE: {
        Finding.YES: "It tells which limit it follows, and tells it right.",
        Finding.NO: N_("It tells another limit than it was given."),
        Finding.UNCLEAR: N_("It does not tell which limit it follows; the metered current will show it."),
    },
    Trial.CLEARING: {
        Finding.YES: "It lets a limit go when it is asked to.",
        Finding.NO: N_("It does not let a limit go when it is asked to."),
    },
    Trial.OBEYS: {
        Finding.YES: "The car keeps to a lower limit.",
        Finding.NO: N_("The car did not keep to a lower limit: the station counts with what is drawn."),
        Finding.UNCLEAR: N_("The car draws too little to tell whether it would keep to a limit."),
    },
    Trial.PHASES: {
        Finding.YES: "The car draws on these phases.",
        Finding.UNCLEAR: N_("The car draws nothing, so its phases are not known."),
    },
    Trial.FALLS_BACK: {
        Finding.YES: "It lowered the car by itself while its link was cut.",
        Finding.NO: N_("It did not lower the car by itself while its link was cut: its last limit stays reserved."),
        Finding.UNCLEAR: N_("The car drew too little, or no reading came, to tell whether it falls back."),
    },
    Trial.KEEPS_PROFILES: {
        Finding.YES: "Its limits outlive a restart.",
        Finding.NO: N_(
            "It forgets its limits when it restarts: it counts with its maximum until they are written again."
        ),
        Finding.UNCLEAR: N_("Whether its limits outlive a restart could not be seen."),
    },
}
METER_FINDINGS = {
    MeterFinding.SILENT: N_("The meter gives no reading."),
    MeterFinding.ANOTHER_METER: N_("Another meter answers, or one that does not say that it is this model."),
    MeterFinding.PHASE_MISSING: N_("no current that can be believed."),
    MeterFinding.VOLTAGE: N_("the voltage is none of a 230 V network. Is a wire loose, or the model another one?"),
    MeterFinding.POWER_DISAGREES: N_("Power and currents do not fit. Is the transformers' ratio applied exactly once?"),
    MeterFinding.ABOVE_DIRECT: N_("more than 63 A without transformers. Does it measure with transformers?"),
    MeterFinding.FEEDS_IN: N_(
        "current is fed in. Right with solar panels; if there are none, turn the transformer around, or tick"
        " “measures backwards” when all of them face the wrong way."
    ),
    MeterFinding.REPEATS: N_("Every value stayed exactly the same: it is frozen, or nothing changes at all."),
}
