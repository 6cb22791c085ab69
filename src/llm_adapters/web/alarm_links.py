"""Where something can be done about what needs attention."""

from __future__ import annotations

from llm_adapters.web.addresses import cluster_path, station_path
from llm_adapters.web.words import METER_ALARMS
from llm_core import SITE, Alarm, AlarmCode, Site

PAGES_OF_ALARMS = {
    AlarmCode.STRANGER_DRAWS: "/stations",
    AlarmCode.CPO_OFFLINE: "/uplink",
    AlarmCode.CPO_REFUSES: "/uplink",
    AlarmCode.LIMIT_SENDER_SILENT: "/limits",
}


def alarm_link(alarm: Alarm, site: Site) -> str:
    """The page where something can be done about an alarm; the overview when there is none."""
    if alarm.code in METER_ALARMS:
        return "/settings#meter" if alarm.subject == SITE else f"{cluster_path(alarm.subject)}/meter"
    if alarm.code in PAGES_OF_ALARMS:
        return PAGES_OF_ALARMS[alarm.code]
    if site.station(alarm.subject) is not None:
        return station_path(alarm.subject)
    return "/system" if alarm.code is AlarmCode.CLOCK_WRONG else "/"
