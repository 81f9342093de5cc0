package kubeadmtest

// CA is the certificate that the phase certs leaves. Its pin was computed by
// openssl: x509 -pubkey | pkey -pubin -outform der | sha256.
const CA = `-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUZDiee0a5jrB+T1Y0ejB+530c5vQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAgFw0yNjExMjUxNTMxNTJaGA8yMTI2MTEw
MTE1MzE1MlowFTETMBEGA1UEAwwKa3ViZXJuZXRlczBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABBGjcgOE72i9y2K6/kqVCFCDYiXh01TL+sLAdOUxjjMNqwcV7cdx
nrAn6BJkkpTMu+IbYgWUhVnfihyvdL0T3fujUzBRMB0GA1UdDgQWBBQfBn+rDyHI
YjN3EkV9H8WodFvqJTAfBgNVHSMEGDAWgBQfBn+rDyHIYjN3EkV9H8WodFvqJTAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIBlPiG0JSyqlFWxFwyZk
GQ+8nHJzb9ThOLPoxBi6dqiEAiEA2G/qm6ntBFKLjYc7XJMZWhKDb6U71TQNhbnK
VuQkkGA=
-----END CERTIFICATE-----
`

// CAHash is its pin.
const CAHash = "sha256:dc26f791e71d66b360490a1d7f77a36666a1fd98be058feeddc7c6ba1f6b7936"
