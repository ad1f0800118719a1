"""What the .NET SDK (1.16 to 1.18) sends and reads, played without .NET: its requests on the wire, its app as Kestrel answers."""
