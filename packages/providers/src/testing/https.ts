/** A real HTTPS server on loopback for tests. */
import { createServer } from 'node:https'
import { startHttp } from './loopback.ts'

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/ujRXAYLXy1ukQOu
sgTXPxdgYjl4VOPWTpY9N8sSPimhRANCAAS2+SJXMSnK0fgRbed63z5ljjStZMca
GOhbDoiIsXxGb1dSHAFKZGqXZ+v1RH8pObuGAe/ouGHTbckooT31fgX4
-----END PRIVATE KEY-----`

/** Of localhost, signed by itself; good until 2126. */
export const localhostCertificate = `-----BEGIN CERTIFICATE-----
MIIBozCCAUigAwIBAgIUdaXWL9WJ2q/Kzjyu3jUU33IETlEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA2MzQ0NFoYDzIxMjYxMDI5
MDYzNDQ0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS2+SJXMSnK0fgRbed63z5ljjStZMcaGOhbDoiIsXxGb1dSHAFKZGqX
Z+v1RH8pObuGAe/ouGHTbckooT31fgX4o3YwdDAdBgNVHQ4EFgQUfmHf1cIZefMR
L867dq/Sx0zCVuUwHwYDVR0jBBgwFoAUfmHf1cIZefMRL867dq/Sx0zCVuUwIQYD
VR0RBBowGIIJbG9jYWxob3N0ggsqLmxvY2FsaG9zdDAPBgNVHRMBAf8EBTADAQH/
MAoGCCqGSM49BAMCA0kAMEYCIQClS0B0LbvUZYAA2n1TWZ/RI1z7S7RuTmiRDIxM
7yEZwQIhAJeR83veK9qY/xrcBOgeU5LqJxLyubuCqWSPViQ47krf
-----END CERTIFICATE-----`

/** As {@link startHttp}; its `url` says `http:`, so go by its port. */
export const startHttps = (answer: Parameters<typeof startHttp>[0]): ReturnType<typeof startHttp> =>
  startHttp(answer, (listener) => createServer({ key, cert: localhostCertificate }, listener))
