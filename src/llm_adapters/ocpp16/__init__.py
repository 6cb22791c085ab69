"""OCPP-J 1.6: frames (what is on the wire), identity (who calls), rpc (one session per link)."""
