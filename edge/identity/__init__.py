"""Who a sidecar is towards others: SPIFFE identities, their certificates, where those come from. Imported only with mTLS."""
