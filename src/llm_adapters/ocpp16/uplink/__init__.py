"""Each station as an ordinary station of a charge point operator (CPO): the "local controller" of OCPP 1.6 §3.13.4."""
