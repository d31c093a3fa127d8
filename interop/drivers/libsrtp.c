/* Protects and opens packets with libsrtp, as lines of standard input say:
 *
 *   key SUITE HEX     begin anew, in both directions, with this key and salt
 *   protect HEX       answers with the protected packet
 *   unprotect HEX
 *   protect_rtcp HEX
 *   unprotect_rtcp HEX
 *
 * Each line is answered by one: bytes in hexadecimal, "ok", or "error" and libsrtp's number. */
#include <srtp2/srtp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 4096 };

struct suite {
  const char *name;
  void (*rtp)(srtp_crypto_policy_t *);
  void (*rtcp)(srtp_crypto_policy_t *);
};

static const struct suite suites[] = {
    {"AES_CM_128_HMAC_SHA1_80", srtp_crypto_policy_set_rtp_default,
     srtp_crypto_policy_set_rtp_default},
    {"AES_CM_128_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32,
     srtp_crypto_policy_set_rtp_default},
    {"AES_192_CM_HMAC_SHA1_80", srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80,
     srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80},
    {"AES_192_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_192_hmac_sha1_32,
     srtp_crypto_policy_set_aes_cm_192_hmac_sha1_80},
    {"AES_256_CM_HMAC_SHA1_80", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
     srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80},
    {"AES_256_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32,
     srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80},
    {"AEAD_AES_128_GCM", srtp_crypto_policy_set_aes_gcm_128_16_auth,
     srtp_crypto_policy_set_aes_gcm_128_16_auth},
    {"AEAD_AES_256_GCM", srtp_crypto_policy_set_aes_gcm_256_16_auth,
     srtp_crypto_policy_set_aes_gcm_256_16_auth},
};

static srtp_t sender, receiver;

static int from_hex(const char *text, uint8_t *bytes) {
  int len = 0;
  unsigned value;
  while (len < MAX && sscanf(text + 2 * len, "%2x", &value) == 1)
    bytes[len++] = (uint8_t)value;
  return len;
}

static srtp_err_status_t begin(const char *name, const char *hex) {
  uint8_t key[MAX] = {0};
  srtp_policy_t policy;
  srtp_err_status_t status;
  memset(&policy, 0, sizeof policy);
  for (size_t n = 0; n < sizeof suites / sizeof *suites; n++) {
    if (strcmp(suites[n].name, name) != 0)
      continue;
    suites[n].rtp(&policy.rtp);
    suites[n].rtcp(&policy.rtcp);
    from_hex(hex, key);
    policy.key = key;
    policy.window_size = 1024;
    if (sender)
      srtp_dealloc(sender);
    if (receiver)
      srtp_dealloc(receiver);
    policy.ssrc.type = ssrc_any_outbound;
    status = srtp_create(&sender, &policy);
    if (status)
      return status;
    policy.ssrc.type = ssrc_any_inbound;
    return srtp_create(&receiver, &policy);
  }
  return srtp_err_status_bad_param;
}

static void packet(const char *verb, const char *hex) {
  static uint8_t bytes[MAX + SRTP_MAX_TRAILER_LEN + 64];
  int len = from_hex(hex, bytes);
  srtp_err_status_t status = srtp_err_status_bad_param;
  if (strcmp(verb, "protect") == 0)
    status = srtp_protect(sender, bytes, &len);
  else if (strcmp(verb, "unprotect") == 0)
    status = srtp_unprotect(receiver, bytes, &len);
  else if (strcmp(verb, "protect_rtcp") == 0)
    status = srtp_protect_rtcp(sender, bytes, &len);
  else if (strcmp(verb, "unprotect_rtcp") == 0)
    status = srtp_unprotect_rtcp(receiver, bytes, &len);
  if (status) {
    printf("error %d\n", (int)status);
    return;
  }
  for (int n = 0; n < len; n++)
    printf("%02x", bytes[n]);
  printf("\n");
}

int main(void) {
  static char line[3 * MAX], verb[32], first[2 * MAX + 1], second[2 * MAX + 1];
  if (srtp_init())
    return 1;
  while (fgets(line, sizeof line, stdin)) {
    int words = sscanf(line, "%31s %8192s %8192s", verb, first, second);
    if (words == 3 && strcmp(verb, "key") == 0) {
      srtp_err_status_t status = begin(first, second);
      if (status)
        printf("error %d\n", (int)status);
      else
        printf("ok\n");
    } else if (words == 2) {
      packet(verb, first);
    } else {
      printf("error -1\n");
    }
    fflush(stdout);
  }
  return 0;
}
