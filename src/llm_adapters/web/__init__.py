"""The pages and the JSON API on one port: what people see and change, and how they prove who they are."""
