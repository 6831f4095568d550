/* Between the files of the checks of the network. */
#pragma once

#include "audit/audit.h"
#include "audit/model/network.h"

/* When the descriptors of a member cannot be listed, or an interface is not found: leaves the finding and says true. */
bool network_unknown(struct audit *a, const struct guest *g);

/* Evidence that a guest has no interface. */
void network_show_none(struct audit *a, struct finding *f, const struct guest *g);

/* Evidence: the line of the guest's interface; of what it is a port of, if of anything. */
void network_show_nic(struct audit *a, struct finding *f, const struct nic *n);
void network_show_master(struct audit *a, struct finding *f, const struct nic *n);

/* Evidence: the chain that decides, or that there is none. */
void network_show_filter(struct audit *a, struct finding *f, struct net_space *s, const struct net_chain *chain);

void network_l2_pairs(struct audit *a);
void network_macvtap_pairs(struct audit *a);
void network_flood_guest(struct audit *a, struct guest *g);
void network_mac_guest(struct audit *a, struct guest *g);
void network_arp_guest(struct audit *a, struct guest *g);
void network_ra_guest(struct audit *a, struct guest *g);
void network_l3_pairs(struct audit *a);
void network_hostll_guest(struct audit *a, struct guest *g);
void network_hostsvc_guest(struct audit *a, struct guest *g);
void network_imds_guest(struct audit *a, struct guest *g);
void network_vsock_host(struct audit *a);
void network_unixabs_pairs(struct audit *a);
void network_slirp_host(struct audit *a);
