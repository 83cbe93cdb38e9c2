#error "a header of the host program in place of panvae's"
