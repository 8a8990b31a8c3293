"""How well the user simulation agent decides as viewers did, by the protocol of VRAgent-R1."""
