package bundle

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// certificates tells of each certificate in a PEM file what its holder may be
// asked anyway. Whatever else is in the file is passed over.
func certificates(path string, data []byte, now time.Time) string {
	var b strings.Builder
	found := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			fmt.Fprintf(&b, "%s\n  cannot be read\n", path)
			continue
		}
		fmt.Fprintf(&b, "%s\n  subject  %s\n  issuer   %s\n  serial   %s\n  valid    %s to %s, %s\n", path, c.Subject, c.Issuer, c.SerialNumber,
			c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), left(c.NotAfter.Sub(now)))
		if c.IsCA {
			b.WriteString("  CA\n")
		}
		if len(c.DNSNames)+len(c.IPAddresses) > 0 {
			fmt.Fprintf(&b, "  names    %s\n", strings.TrimSpace(strings.Join(c.DNSNames, " ")+" "+strings.Trim(fmt.Sprint(c.IPAddresses), "[]")))
		}
	}
	if found == 0 {
		return path + "\n  no certificate in it\n"
	}
	return b.String()
}

func left(d time.Duration) string {
	if d < 0 {
		return "EXPIRED"
	}
	return fmt.Sprintf("%d days left", int(d.Hours()/24))
}
