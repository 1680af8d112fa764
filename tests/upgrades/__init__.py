"""What each released version has left: warehouses and working folders that later ones run on."""
