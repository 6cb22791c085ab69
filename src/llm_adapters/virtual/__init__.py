"""The plant: virtual stations, cars, drivers, building and meter, independent of the controller they judge."""
